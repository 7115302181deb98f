"""The library only asks whether this can be imported."""
