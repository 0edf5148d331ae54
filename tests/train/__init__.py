"""Whatever needs TensorFlow."""
