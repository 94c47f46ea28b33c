"""What every program of the platform stands on."""
