"""Small synthetic sets in the layouts of TUT 2018, TAU 2019 and TAU-NIGENS 2020 and 2021, and mono ones."""
