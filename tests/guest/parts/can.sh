# CAN: vcan0 and vcan1 are this part's own.
#
#   can.rig.*    that the peers hear each other: what python-can heard from cansend, what candump heard from both

can_up vcan0 vcan1

keep can.rig.candump candump -L -n 8 vcan0 &
keep can.rig.python python3 /peers/can_rig.py vcan0 4 &
until_done hears vcan0 2
cansend vcan0 123#DEADBEEF
cansend vcan0 1F334455#1122334455667788
cansend vcan0 7FF#R
cansend vcan0 5A1##1000102030405060708090A0B
wait
