"""The paper's batch form: a window of readings in, as many forecasts out, any rule in the place of attention."""
