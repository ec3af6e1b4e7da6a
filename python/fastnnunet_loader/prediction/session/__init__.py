"""A predictor with everything around it: three stages on threads, within a memory budget."""
