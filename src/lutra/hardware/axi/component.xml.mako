<?xml version="1.0" encoding="UTF-8"?>
<!-- IP-XACT (IEEE 1685-2009) of ${core.name}, build ${build_hash}, written by Lutra ${version}. -->
<spirit:component xmlns:spirit="http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009 http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009/index.xsd">
  <spirit:vendor>${vlnv.vendor}</spirit:vendor>
  <spirit:library>${vlnv.library}</spirit:library>
  <spirit:name>${vlnv.name}</spirit:name>
  <spirit:version>${vlnv.version}</spirit:version>
  <spirit:busInterfaces>
    <spirit:busInterface>
      <spirit:name>s_axi</spirit:name>
      <spirit:busType spirit:vendor="xilinx.com" spirit:library="interface" spirit:name="aximm" spirit:version="1.0"/>
      <spirit:abstractionType spirit:vendor="xilinx.com" spirit:library="interface" spirit:name="aximm_rtl" spirit:version="1.0"/>
      <spirit:slave>
        <spirit:memoryMapRef spirit:memoryMapRef="s_axi"/>
      </spirit:slave>
      <spirit:portMaps>
% for port in (each for each in ports if each.interface == "s_axi"):
        <spirit:portMap><spirit:logicalPort><spirit:name>${port.role}</spirit:name></spirit:logicalPort><spirit:physicalPort><spirit:name>${port.name}</spirit:name></spirit:physicalPort></spirit:portMap>
% endfor
      </spirit:portMaps>
    </spirit:busInterface>
% for bus in core.interfaces:
    <spirit:busInterface>
      <spirit:name>${bus.name}</spirit:name>
      <spirit:busType spirit:vendor="xilinx.com" spirit:library="interface" spirit:name="${bus.tag}" spirit:version="1.0"/>
      <spirit:abstractionType spirit:vendor="xilinx.com" spirit:library="interface" spirit:name="${bus.tag}_rtl" spirit:version="1.0"/>
%     if bus.is_stream:
      <spirit:${"slave" if bus.role == "stream in" else "master"}/>
%     else:
      <spirit:master>
        <spirit:addressSpaceRef spirit:addressSpaceRef="${bus.name}"/>
      </spirit:master>
%     endif
      <spirit:portMaps>
%     for port in (each for each in ports if each.interface == bus.name):
        <spirit:portMap><spirit:logicalPort><spirit:name>${port.role}</spirit:name></spirit:logicalPort><spirit:physicalPort><spirit:name>${port.name}</spirit:name></spirit:physicalPort></spirit:portMap>
%     endfor
      </spirit:portMaps>
%     if bus.is_stream:
      <spirit:parameters>
        <spirit:parameter><spirit:name>TDATA_NUM_BYTES</spirit:name><spirit:value>${bus.bits // 8}</spirit:value></spirit:parameter>
        <spirit:parameter><spirit:name>HAS_TKEEP</spirit:name><spirit:value>1</spirit:value></spirit:parameter>
        <spirit:parameter><spirit:name>HAS_TLAST</spirit:name><spirit:value>1</spirit:value></spirit:parameter>
      </spirit:parameters>
%     elif bus.role == "memory to read":
      <spirit:parameters>
        <spirit:parameter><spirit:name>READ_WRITE_MODE</spirit:name><spirit:value>READ_ONLY</spirit:value></spirit:parameter>
      </spirit:parameters>
%     endif
    </spirit:busInterface>
% endfor
    <spirit:busInterface>
      <spirit:name>aclk</spirit:name>
      <spirit:busType spirit:vendor="xilinx.com" spirit:library="signal" spirit:name="clock" spirit:version="1.0"/>
      <spirit:abstractionType spirit:vendor="xilinx.com" spirit:library="signal" spirit:name="clock_rtl" spirit:version="1.0"/>
      <spirit:slave/>
      <spirit:portMaps>
        <spirit:portMap><spirit:logicalPort><spirit:name>CLK</spirit:name></spirit:logicalPort><spirit:physicalPort><spirit:name>aclk</spirit:name></spirit:physicalPort></spirit:portMap>
      </spirit:portMaps>
      <spirit:parameters>
        <spirit:parameter><spirit:name>ASSOCIATED_BUSIF</spirit:name><spirit:value>${":".join(["s_axi", *(bus.name for bus in core.interfaces)])}</spirit:value></spirit:parameter>
        <spirit:parameter><spirit:name>ASSOCIATED_RESET</spirit:name><spirit:value>aresetn</spirit:value></spirit:parameter>
      </spirit:parameters>
    </spirit:busInterface>
    <spirit:busInterface>
      <spirit:name>aresetn</spirit:name>
      <spirit:busType spirit:vendor="xilinx.com" spirit:library="signal" spirit:name="reset" spirit:version="1.0"/>
      <spirit:abstractionType spirit:vendor="xilinx.com" spirit:library="signal" spirit:name="reset_rtl" spirit:version="1.0"/>
      <spirit:slave/>
      <spirit:portMaps>
        <spirit:portMap><spirit:logicalPort><spirit:name>RST</spirit:name></spirit:logicalPort><spirit:physicalPort><spirit:name>aresetn</spirit:name></spirit:physicalPort></spirit:portMap>
      </spirit:portMaps>
      <spirit:parameters>
        <spirit:parameter><spirit:name>POLARITY</spirit:name><spirit:value>ACTIVE_LOW</spirit:value></spirit:parameter>
      </spirit:parameters>
    </spirit:busInterface>
    <spirit:busInterface>
      <spirit:name>irq</spirit:name>
      <spirit:busType spirit:vendor="xilinx.com" spirit:library="signal" spirit:name="interrupt" spirit:version="1.0"/>
      <spirit:abstractionType spirit:vendor="xilinx.com" spirit:library="signal" spirit:name="interrupt_rtl" spirit:version="1.0"/>
      <spirit:master/>
      <spirit:portMaps>
        <spirit:portMap><spirit:logicalPort><spirit:name>INTERRUPT</spirit:name></spirit:logicalPort><spirit:physicalPort><spirit:name>irq</spirit:name></spirit:physicalPort></spirit:portMap>
      </spirit:portMaps>
      <spirit:parameters>
        <spirit:parameter><spirit:name>SENSITIVITY</spirit:name><spirit:value>LEVEL_HIGH</spirit:value></spirit:parameter>
      </spirit:parameters>
    </spirit:busInterface>
  </spirit:busInterfaces>
<% memories = [bus for bus in core.interfaces if not bus.is_stream] %>\
% if memories:
  <spirit:addressSpaces>
%     for bus in memories:
    <spirit:addressSpace>
      <spirit:name>${bus.name}</spirit:name>
      <spirit:range>${1 << memory_address_bits}</spirit:range>
      <spirit:width>${bus.bits}</spirit:width>
    </spirit:addressSpace>
%     endfor
  </spirit:addressSpaces>
% endif
  <spirit:memoryMaps>
    <spirit:memoryMap>
      <spirit:name>s_axi</spirit:name>
      <spirit:addressBlock>
        <spirit:name>registers</spirit:name>
        <spirit:baseAddress>0x0</spirit:baseAddress>
        <spirit:range>${1 << map.address_bits}</spirit:range>
        <spirit:width>32</spirit:width>
        <spirit:usage>register</spirit:usage>
% for offset, register in map:
        <spirit:register>
          <spirit:name>${register.name}</spirit:name>
          <spirit:description>${register.what | x}</spirit:description>
          <spirit:addressOffset>0x${f"{offset:x}"}</spirit:addressOffset>
          <spirit:size>32</spirit:size>
          <spirit:access>${"read-write" if register.writable and register.readable else "write-only" if register.writable else "read-only"}</spirit:access>
          <spirit:reset>
            <spirit:value>0x${f"{register.reset:08x}"}</spirit:value>
          </spirit:reset>
%     for field in register.fields:
          <spirit:field>
            <spirit:name>${field.name}</spirit:name>
            <spirit:description>${field.what | x}</spirit:description>
            <spirit:bitOffset>${field.low}</spirit:bitOffset>
            <spirit:bitWidth>${field.bits}</spirit:bitWidth>
%         if field.access in ("status", "sticky"):
            <spirit:volatile>true</spirit:volatile>
%         endif
            <spirit:access>${{"setting": "read-write", "sticky": "read-write", "command": "write-only"}.get(field.access, "read-only")}</spirit:access>
%         if field.access == "sticky":
            <spirit:modifiedWriteValue>oneToClear</spirit:modifiedWriteValue>
%         endif
          </spirit:field>
%     endfor
        </spirit:register>
% endfor
      </spirit:addressBlock>
    </spirit:memoryMap>
  </spirit:memoryMaps>
  <spirit:model>
    <spirit:views>
      <spirit:view>
        <spirit:name>xilinx_anylanguagesynthesis</spirit:name>
        <spirit:displayName>Synthesis</spirit:displayName>
        <spirit:envIdentifier>:vivado.xilinx.com:synthesis</spirit:envIdentifier>
        <spirit:language>Verilog</spirit:language>
        <spirit:modelName>${core.name}</spirit:modelName>
        <spirit:fileSetRef><spirit:localName>sources</spirit:localName></spirit:fileSetRef>
      </spirit:view>
      <spirit:view>
        <spirit:name>xilinx_anylanguagebehavioralsimulation</spirit:name>
        <spirit:displayName>Simulation</spirit:displayName>
        <spirit:envIdentifier>:vivado.xilinx.com:simulation</spirit:envIdentifier>
        <spirit:language>Verilog</spirit:language>
        <spirit:modelName>${core.name}</spirit:modelName>
        <spirit:fileSetRef><spirit:localName>sources</spirit:localName></spirit:fileSetRef>
      </spirit:view>
    </spirit:views>
    <spirit:ports>
% for name in ("aclk", "aresetn"):
      <spirit:port>
        <spirit:name>${name}</spirit:name>
        <spirit:wire>
          <spirit:direction>in</spirit:direction>
        </spirit:wire>
      </spirit:port>
% endfor
% for port in ports:
      <spirit:port>
        <spirit:name>${port.name}</spirit:name>
        <spirit:wire>
          <spirit:direction>${port.direction}</spirit:direction>
%     if port.bits > 1 or port.vector:
          <spirit:vector>
            <spirit:left>${port.bits - 1}</spirit:left>
            <spirit:right>0</spirit:right>
          </spirit:vector>
%     endif
        </spirit:wire>
      </spirit:port>
% endfor
    </spirit:ports>
  </spirit:model>
  <spirit:fileSets>
    <spirit:fileSet>
      <spirit:name>sources</spirit:name>
% for source in sources:
      <spirit:file>
        <spirit:name>rtl/${source}</spirit:name>
        ${"<spirit:userFileType>systemVerilogSource</spirit:userFileType>" if source.endswith(".sv") else "<spirit:fileType>verilogSource</spirit:fileType>"}
      </spirit:file>
% endfor
% for source in data:
      <spirit:file>
        <spirit:name>rtl/${source}</spirit:name>
        <spirit:userFileType>mem</spirit:userFileType>
      </spirit:file>
% endfor
    </spirit:fileSet>
  </spirit:fileSets>
  <spirit:description>${core.description}, build ${build_hash}</spirit:description>
</spirit:component>
