"""What the line of waiting gates costs and gives, simulated beside gates without it."""
