// A serial line in front of a packaged accelerator: its registers and its packets, byte by byte.
//
// Commands from the other side, numbers little endian:
//   W index word       writes register index (one byte, counted in words) with four bytes; answered with w, or with o if
//                      a byte was lost since the last answer
//   R index            answered with the four bytes of the register
//   P length bytes     sends length bytes (a number of four bytes, at least 1) as one packet
// Bytes of packets that come back are sent as they come, so whoever sends a packet must wait for them before the next
// command; a serial line cannot be stalled. Other bytes are ignored. A break on the line starts afresh.
//
// Timing: far faster than the line; a byte that comes from the accelerator is sent as soon as the line is free.
module lutra_uart_bridge #(
  parameter int unsigned AddressBits = 12,  // of the registers' byte address, at least 10
  parameter int unsigned BitCycles = 25,    // cycles per bit of the line, at least 4
  parameter int unsigned CountBits = 8      // of a number of cycles up to BitCycles
) (
  input  logic                   clk_i,            // clock
  input  logic                   rst_ni,           // synchronous reset, active low
  input  logic                   line_i,           // serial line that comes
  output logic                   line_o,           // serial line that leaves
  output logic                   m_axi_awvalid_o,  // AXI4-Lite: AWVALID
  input  logic                   m_axi_awready_i,  // AWREADY
  output logic [AddressBits-1:0] m_axi_awaddr_o,   // AWADDR
  output logic                   m_axi_wvalid_o,   // WVALID
  input  logic                   m_axi_wready_i,   // WREADY
  output logic [31:0]            m_axi_wdata_o,    // WDATA
  input  logic                   m_axi_bvalid_i,   // BVALID
  output logic                   m_axi_bready_o,   // BREADY
  output logic                   m_axi_arvalid_o,  // ARVALID
  input  logic                   m_axi_arready_i,  // ARREADY
  output logic [AddressBits-1:0] m_axi_araddr_o,   // ARADDR
  input  logic                   m_axi_rvalid_i,   // RVALID
  output logic                   m_axi_rready_o,   // RREADY
  input  logic [31:0]            m_axi_rdata_i,    // RDATA
  output logic                   m_axis_tvalid_o,  // AXI4-Stream to the accelerator: TVALID
  input  logic                   m_axis_tready_i,  // TREADY
  output logic [7:0]             m_axis_tdata_o,   // TDATA
  output logic                   m_axis_tlast_o,   // TLAST
  input  logic                   s_axis_tvalid_i,  // AXI4-Stream from the accelerator: TVALID
  output logic                   s_axis_tready_o,  // TREADY
  input  logic [7:0]             s_axis_tdata_i    // TDATA
);

  if (AddressBits < 10 || BitCycles < 4 || 2**CountBits < BitCycles) begin : gen_wrong
    $error("AddressBits must be at least 10, BitCycles at least 4, and CountBits enough for it");
  end

  localparam logic [2:0] Idle = 3'd0, WriteArguments = 3'd1, Writing = 3'd2, ReadArgument = 3'd3, Reading = 3'd4,
                         Answering = 3'd5, Length = 3'd6, Packet = 3'd7;

  logic       come, broken;
  logic [7:0] byte_in;
  lutra_uart_receive #(.BitCycles(BitCycles), .CountBits(CountBits)) u_receive (
    .clk_i, .rst_ni, .line_i, .valid_o(come), .data_o(byte_in), .break_o(broken)
  );

  logic [2:0]  state_q, left_q;
  logic [7:0]  index_q;
  logic [31:0] word_q, length_q;
  logic        lost_q, address_q, data_q, ask_q, full_q;
  logic [7:0]  packet_q;
  logic        send, sendable;

  // The answer's next byte goes first; there is none while a packet's bytes come back.
  assign send = state_q == Answering || s_axis_tvalid_i;
  assign s_axis_tready_o = sendable && state_q != Answering;
  lutra_uart_send #(.BitCycles(BitCycles), .CountBits(CountBits)) u_send (
    .clk_i, .rst_ni, .valid_i(send), .ready_o(sendable),
    .data_i(state_q == Answering ? word_q[7:0] : s_axis_tdata_i), .line_o
  );

  assign m_axi_awvalid_o = address_q;
  assign m_axi_wvalid_o  = data_q;
  assign m_axi_arvalid_o = ask_q;
  assign m_axi_bready_o  = 1'b1;
  assign m_axi_rready_o  = 1'b1;
  assign m_axi_awaddr_o  = {{AddressBits-10{1'b0}}, index_q, 2'b00};
  assign m_axi_araddr_o  = {{AddressBits-10{1'b0}}, index_q, 2'b00};
  assign m_axi_wdata_o   = word_q;
  assign m_axis_tvalid_o = full_q;
  assign m_axis_tdata_o  = packet_q;
  assign m_axis_tlast_o  = length_q == '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || broken) begin
      state_q   <= Idle;
      lost_q    <= 1'b0;
      address_q <= 1'b0;
      data_q    <= 1'b0;
      ask_q     <= 1'b0;
      full_q    <= 1'b0;
    end else begin
      address_q <= address_q && !m_axi_awready_i;
      data_q    <= data_q && !m_axi_wready_i;
      ask_q     <= ask_q && !m_axi_arready_i;
      full_q    <= full_q && !m_axis_tready_i;
      case (state_q)
        Idle: begin
          left_q <= byte_in == "R" ? 3'd0 : byte_in == "W" ? 3'd4 : 3'd3;
          if (come) begin
            state_q <= byte_in == "R" ? ReadArgument : byte_in == "W" ? WriteArguments : byte_in == "P" ? Length : Idle;
          end
        end
        WriteArguments: begin
          if (come) begin
            left_q <= left_q - 1'b1;
            if (left_q == 3'd4) begin
              index_q <= byte_in;
            end else begin
              word_q <= {byte_in, word_q[31:8]};
            end
            if (left_q == '0) begin
              state_q   <= Writing;
              address_q <= 1'b1;
              data_q    <= 1'b1;
            end
          end
        end
        Writing: begin
          if (m_axi_bvalid_i) begin
            state_q <= Answering;
            left_q  <= '0;
            word_q  <= {24'd0, lost_q ? 8'h6f : 8'h77};
            lost_q  <= 1'b0;
          end
        end
        ReadArgument: begin
          if (come) begin
            index_q <= byte_in;
            ask_q   <= 1'b1;
            state_q <= Reading;
          end
        end
        Reading: begin
          if (m_axi_rvalid_i) begin
            state_q <= Answering;
            left_q  <= 3'd3;
            word_q  <= m_axi_rdata_i;
          end
        end
        Answering: begin
          if (sendable) begin
            left_q  <= left_q - 1'b1;
            word_q  <= {8'd0, word_q[31:8]};
            state_q <= left_q == '0 ? Idle : Answering;
          end
        end
        Length: begin
          if (come) begin
            left_q   <= left_q - 1'b1;
            length_q <= {byte_in, length_q[31:8]};
            state_q  <= left_q == '0 ? Packet : Length;
          end
        end
        default: begin
          if (come) begin
            packet_q <= byte_in;
            full_q   <= 1'b1;
            length_q <= length_q - 1'b1;
            lost_q   <= lost_q || (full_q && !m_axis_tready_i);
          end
          if (full_q && m_axis_tready_i && length_q == '0) begin
            state_q <= Idle;
          end
        end
      endcase
    end
  end

endmodule
