"""Published ORBIT-2 checkpoints become checkpoints of orbitds."""
