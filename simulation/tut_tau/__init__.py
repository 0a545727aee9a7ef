"""Small synthetic sets in the layouts of TUT Sound Events 2018 and TAU Spatial Sound Events 2019."""
