# The plant's nodes on CAN, without a gateway: vcan3 is this part's own.
#
#   plant.messages   what python-can and cantools made of the senders' frames by the plant's DBC file, as JSON
#   plant.faults     the same of a second run with faults
#   plant.canopen    what the package canopen got of the node by the plant's EDS, as JSON

can_up vcan3

keep plant.messages python3 /peers/plant_messages.py vcan3
keep plant.faults python3 /peers/plant_messages.py vcan3 mixer:silence tank:short drive:stuck engine:bus-off@..2 \
	engine:error-frames@2.. batch:flood=500
keep plant.canopen python3 /peers/plant_canopen.py vcan3
