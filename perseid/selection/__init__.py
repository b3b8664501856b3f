"""What of the trees trains whom: right trajectories for the policy, preference pairs for the PPM."""
