<%
streams = {bus.role: bus for bus in core.interfaces if bus.is_stream}
memories = [bus for bus in core.interfaces if not bus.is_stream]
slaves = [*(["axi_dma_0/S_AXI_LITE"] if streams else []), f"{core.name}_0/s_axi"]
masters = [*(["axi_dma_0/M_AXI_MM2S", "axi_dma_0/M_AXI_S2MM"] if streams else []), *(f"{core.name}_0/{bus.name}" for bus in memories)]
interrupts = [f"{core.name}_0/irq", *(["axi_dma_0/mm2s_introut", "axi_dma_0/s2mm_introut"] if streams else [])]
%>\
# A Zynq system around ${core.name}, build ${build_hash}: processor, ${"DMA engine, " if streams else ""}interconnect, bitstream.
#   vivado -mode batch -source block_design.tcl -tclargs [PART] [BOARD_PART]
# PART is by default that of a PYNQ-Z2. The project appears in ./${core.name}_system; its bitstream and its hardware handoff,
# ${core.name}.bit and ${core.name}.hwh, beside it.

set here [file dirname [file normalize [info script]]]
set part [expr {[llength $argv] > 0 ? [lindex $argv 0] : "xc7z020clg400-1"}]
set board [expr {[llength $argv] > 1 ? [lindex $argv 1] : ""}]
set work [file normalize ${core.name}_system]

create_project -force ${core.name}_system $work -part $part
if {$board ne ""} {
    set_property board_part $board [current_project]
}
set_property ip_repo_paths [file normalize [file join $here ..]] [current_project]
update_ip_catalog

create_bd_design system

if {[string match "xczu*" $part] || [string match "xck26*" $part]} {
    set processor [create_bd_cell -type ip -vlnv [get_ipdefs -all xilinx.com:ip:zynq_ultra_ps_e:*] processor]
    apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset 1} $processor
    set_property -dict [list CONFIG.PSU__USE__M_AXI_GP0 1 CONFIG.PSU__USE__M_AXI_GP1 0 CONFIG.PSU__USE__S_AXI_GP2 1 ${"\\"}
        CONFIG.PSU__USE__IRQ0 1] $processor
    set master processor/M_AXI_HPM0_FPD
    set memory processor/S_AXI_HP0_FPD
    set interrupts processor/pl_ps_irq0
    set clock processor/pl_clk0
} else {
    set processor [create_bd_cell -type ip -vlnv [get_ipdefs -all xilinx.com:ip:processing_system7:*] processor]
    apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 ${"\\"}
        -config {make_external "FIXED_IO, DDR" apply_board_preset "1" Master "Disable" Slave "Disable"} $processor
    set_property -dict [list CONFIG.PCW_USE_M_AXI_GP0 1 CONFIG.PCW_USE_S_AXI_HP0 1 CONFIG.PCW_USE_FABRIC_INTERRUPT 1 ${"\\"}
        CONFIG.PCW_IRQ_F2P_INTR 1 CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ ${clock_mhz}] $processor
    set master processor/M_AXI_GP0
    set memory processor/S_AXI_HP0
    set interrupts processor/IRQ_F2P
    set clock processor/FCLK_CLK0
}

create_bd_cell -type ip -vlnv ${vlnv} ${core.name}_0
% if streams:
set engine [create_bd_cell -type ip -vlnv [get_ipdefs -all xilinx.com:ip:axi_dma:*] axi_dma_0]
set_property -dict [list CONFIG.c_include_sg 0 CONFIG.c_sg_length_width 26 CONFIG.c_sg_include_stscntrl_strm 0 ${"\\"}
    CONFIG.c_m_axis_mm2s_tdata_width ${streams["stream in"].bits} CONFIG.c_s_axis_s2mm_tdata_width ${streams["stream out"].bits} ${"\\"}
    CONFIG.c_m_axi_mm2s_data_width ${max(32, streams["stream in"].bits)} CONFIG.c_m_axi_s2mm_data_width ${max(32, streams["stream out"].bits)} ${"\\"}
    CONFIG.c_mm2s_burst_size 16 CONFIG.c_s2mm_burst_size 16 CONFIG.c_include_mm2s_dre 0 CONFIG.c_include_s2mm_dre 0] $engine

connect_bd_intf_net [get_bd_intf_pins axi_dma_0/M_AXIS_MM2S] [get_bd_intf_pins ${core.name}_0/s_axis]
connect_bd_intf_net [get_bd_intf_pins ${core.name}_0/m_axis] [get_bd_intf_pins axi_dma_0/S_AXIS_S2MM]
% endif

foreach slave {${" ".join(slaves)}} {
    apply_bd_automation -rule xilinx.com:bd_rule:axi4 ${"\\"}
        -config [list Master /$master Slave /$slave Clk_master /$clock Clk_slave /$clock Clk_xbar /$clock] ${"\\"}
        [get_bd_intf_pins $slave]
}
foreach reader {${" ".join(masters)}} {
    apply_bd_automation -rule xilinx.com:bd_rule:axi4 ${"\\"}
        -config [list Master /$reader Slave /$memory Clk_master /$clock Clk_slave /$clock Clk_xbar /$clock] ${"\\"}
        [get_bd_intf_pins [expr {$reader eq "${masters[0]}" ? $memory : $reader}]]
}

set concat [create_bd_cell -type ip -vlnv [get_ipdefs -all xilinx.com:ip:xlconcat:*] interrupts]
set_property CONFIG.NUM_PORTS ${len(interrupts)} $concat
% for number, interrupt in enumerate(interrupts):
connect_bd_net [get_bd_pins ${interrupt}] [get_bd_pins interrupts/In${number}]
% endfor
connect_bd_net [get_bd_pins interrupts/dout] [get_bd_pins $interrupts]

assign_bd_address
validate_bd_design
save_bd_design
make_wrapper -files [get_files system.bd] -top -import
set_property top system_wrapper [current_fileset]

launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
if {[get_property PROGRESS [get_runs impl_1]] ne "100%"} {
    error "${core.name}: implementation failed; look into the log of impl_1 in $work"
}
file copy -force [glob [file join $work *.runs impl_1 system_wrapper.bit]] [file normalize ${core.name}.bit]
file copy -force [lindex [glob [file join $work *.gen sources_1 bd system hw_handoff system.hwh]] 0] [file normalize ${core.name}.hwh]
