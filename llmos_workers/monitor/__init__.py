"""What the system says about itself to people and machines; reads only, changes nothing."""
