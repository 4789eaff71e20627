"""What reserving costs a fleet of runs, simulated."""
