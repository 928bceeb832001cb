"""Plans and the decisions on them, pure: events in, actions out."""
