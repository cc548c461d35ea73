-- Shows tshark, which does not know GUE, the 4 bytes of its header (variant 0),
-- and hands what follows to tshark's own dissectors.
local gue = Proto("gue", "Generic UDP Encapsulation")
local first = ProtoField.uint8("gue.first", "Variant, control and header length")
local proto = ProtoField.uint8("gue.proto", "Protocol")
local flags = ProtoField.uint16("gue.flags", "Flags")
gue.fields = {first, proto, flags}

function gue.dissector(buffer, packet, tree)
	local header = tree:add(gue, buffer(0, 4))
	header:add(first, buffer(0, 1))
	header:add(proto, buffer(1, 1))
	header:add(flags, buffer(2, 2))
	DissectorTable.get("ip.proto"):try(buffer(1, 1):uint(), buffer(4):tvb(), packet, tree)
end

DissectorTable.get("udp.port"):add(6080, gue)
