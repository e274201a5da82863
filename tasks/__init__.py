"""What workers run: one module per domain; a task unpacks, calls one service and returns JSON."""
