"""Targets in a Kubernetes cluster: what their objects mean, who else moves them, and how one write is made."""
