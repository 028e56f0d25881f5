"""What files say of their repository."""
