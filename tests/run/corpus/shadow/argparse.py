print("not the standard argparse")
