"""Pictures of what the network will see."""
