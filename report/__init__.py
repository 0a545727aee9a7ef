"""What people look at: TensorBoard monitor, player, evaluation page, overlay video."""
