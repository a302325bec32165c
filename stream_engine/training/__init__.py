"""Training of the elinformer's nets on history: what they are shown, the loop, the choice of epochs, the artifact.

I know nothing of the command line. The engine's own replay makes what the nets are shown, so that training and serving
see the same; `run.train` walks the whole road.
"""
