"""What a network's output means: encode labels, loss, decode to candidates, merge to events."""
