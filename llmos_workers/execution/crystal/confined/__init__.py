"""What runs in the confined process of generated tools. Standard library only."""
