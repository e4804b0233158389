"""One writer: leader election on a Lease, and the fence that every write passes."""
