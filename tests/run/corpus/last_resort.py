import logging
import sys
import traceback

logging.warning("root")
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("logged")
    traceback.print_exc()
    print(traceback.format_exc())
    print(len(sys.exc_info()[2].tb_frame.f_code.co_name))
