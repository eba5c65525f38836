"Training, bfloat16, dropout 0.1: ours, the same shape in plain torch, and transformers, turn by turn."
from training import main

if __name__ == "__main__": main("Training, bfloat16, dropout 0.1", precision="bfloat16", dropout=0.1)
