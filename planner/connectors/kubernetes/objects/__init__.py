"""What Kubernetes objects mean: pure, and without a call."""
