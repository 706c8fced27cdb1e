"""What waits in a triggerer, without holding a worker or the event loop."""
