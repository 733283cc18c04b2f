"""What scripts/bench_engine.py is made of: its prompts, and the ways held side by side."""
