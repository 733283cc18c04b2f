"""A small project with two bugs and a gap, and a player that lets the real server close them."""
