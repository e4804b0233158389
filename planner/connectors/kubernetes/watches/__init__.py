"""What is known of a cluster without asking."""
