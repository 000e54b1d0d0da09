"""What a comparison says of its trials: the figures of one, which scheme is steadiest, the slopes across widths."""
