# The whole program: devices on TCP, a serial line, CAN and CANopen nodes, on vcan0.
#
#   whole.demo      what fieldbeat demo --plant full printed; whole.report.json, its report
#   whole.candump   all frames meanwhile, with the kernel's times
#   whole.dbc       the plant's DBC file
#   whole.tail      what the journal has of CAN and CANopen

can_up vcan0

# Into memory, and with room: it must not miss what the gateway hears.
candump -r 8388608 -L vcan0 >whole.candump &
listener=$!
until_done hears vcan0 1
keep whole.demo fieldbeat demo --plant full --seconds 12 --devices 2 --tags 40 --rate 10 --dir whole \
	--report /out/whole.report.json
kill $listener
cp whole.candump /out/
cp whole/tags/plant.dbc /out/whole.dbc
keep whole.tail fieldbeat tail --config whole --from-start --lines 1500 'can.*' 'pump.*'
