"""A discrete-event fleet: it plays requests against a profile, so that a policy can be judged before it is trusted."""
