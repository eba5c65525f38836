"Training, float32, dropout 0: ours, the same shape in plain torch, and transformers, turn by turn."
from training import main

if __name__ == "__main__": main("Training, float32, dropout 0", precision="float32", dropout=0.0)
