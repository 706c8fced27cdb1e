"""Side by side with the official provider: see docs/performance.md, which ``make bench`` writes."""
