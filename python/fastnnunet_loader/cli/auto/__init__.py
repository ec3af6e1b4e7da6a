"""`fastnnunet auto`: the way from raw images to a chosen model and its predictions, in one process."""
