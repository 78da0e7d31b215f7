# CANopen: vcan2 is this part's own.
#
#   canopen.rig   what a master of the package canopen saw of a node of the same package, as JSON

can_up vcan2

keep canopen.rig python3 /peers/canopen_rig.py vcan2
