// One constant lookup table: bit_o = Table[address_i]. A trained table has 2 to 8 inputs; ROMs have more.
//
// With LUTRA_XILINX defined it is made of LUT6 cells, so that synthesis keeps exactly these tables (several are joined
// by a multiplexer above 6 inputs; constant ones become none). With LUTRA_ECP5 it is made of LUT4 cells and the multiplexers of
// slices, for the same reason. Otherwise it is a multiplexer tree (Shannon expansion) for standard cells and
// simulation; synthesis would make a shifter of an indexed constant. With LUTRA_FAST_SIMULATION the constant is
// indexed all the same, because the tree takes several times longer to compile for simulation.
//
// Timing: combinational.
module lutra_lut #(
  parameter int unsigned Inputs = 6,                 // at least 1
  parameter logic [(2**Inputs)-1:0] Table = '0       // entry a at bit a
) (
  input  logic [Inputs-1:0] address_i,  // the inputs; input 0 is the least significant bit
  output logic              bit_o       // the table's entry
);

  if (Inputs < 1) begin : gen_wrong
    $error("Inputs must be at least 1");
  end

`ifdef LUTRA_FAST_SIMULATION
  assign bit_o = Table[address_i];
`elsif LUTRA_XILINX
  localparam int unsigned Leaves = Inputs > 6 ? 2**(Inputs-6) : 1;
  localparam int unsigned LeafInputs = Inputs > 6 ? 6 : Inputs;
  localparam int unsigned LeafBits = 2**LeafInputs;

  logic [5:0]        leaf_address;
  logic [Leaves-1:0] leaf;

  for (genvar i = 0; i < 6; i++) begin : gen_address
    if (i < LeafInputs) begin : gen_input
      assign leaf_address[i] = address_i[i];
    end else begin : gen_tied
      assign leaf_address[i] = 1'b0;
    end
  end

  for (genvar k = 0; k < Leaves; k++) begin : gen_leaf
    localparam logic [LeafBits-1:0] LeafTable = Table[k*LeafBits +: LeafBits];
    localparam logic [LeafBits-1:0] Before = k > 0 ? Table[(k > 0 ? k-1 : 0)*LeafBits +: LeafBits] : ~LeafTable;
    if (LeafTable == '0 || LeafTable == '1) begin : gen_constant
      assign leaf[k] = LeafTable[0];
    end else if (LeafTable == Before) begin : gen_shared
      assign leaf[k] = leaf[k-1];
    end else begin : gen_lut6
      LUT6 #(
        .INIT({(64/LeafBits){LeafTable}})
      ) u_lut6 (
        .I0(leaf_address[0]),
        .I1(leaf_address[1]),
        .I2(leaf_address[2]),
        .I3(leaf_address[3]),
        .I4(leaf_address[4]),
        .I5(leaf_address[5]),
        .O (leaf[k])
      );
    end
  end

  if (Inputs > 6) begin : gen_join
    lutra_mux #(.AddressBits(Inputs-6), .Width(1)) u_mux (
      .address_i(address_i[Inputs-1:6]),
      .words_i(leaf),
      .word_o(bit_o)
    );
  end else begin : gen_single
    assign bit_o = leaf[0];
  end
`elsif LUTRA_ECP5
  if (Inputs <= 4) begin : gen_lut4
    logic [3:0] address;
    assign address = {{4-Inputs{1'b0}}, address_i};
    (* keep *) LUT4 #(.INIT({(16/2**Inputs){Table}})) u_lut4 (
      .A(address[0]), .B(address[1]), .C(address[2]), .D(address[3]), .Z(bit_o)
    );
  end else begin : gen_halves
    // Both halves of the table, and a multiplexer: in the slice up to 6 inputs, of logic above.
    logic low, high;
    lutra_lut #(.Inputs(Inputs-1), .Table(Table[0 +: 2**(Inputs-1)])) u_low (
      .address_i(address_i[Inputs-2:0]), .bit_o(low)
    );
    lutra_lut #(.Inputs(Inputs-1), .Table(Table[2**(Inputs-1) +: 2**(Inputs-1)])) u_high (
      .address_i(address_i[Inputs-2:0]), .bit_o(high)
    );
    if (Inputs == 5) begin : gen_pair
      (* keep *) PFUMX u_mux (.ALUT(high), .BLUT(low), .C0(address_i[4]), .Z(bit_o));
    end
    if (Inputs == 6) begin : gen_four
      (* keep *) L6MUX21 u_mux (.D0(low), .D1(high), .SD(address_i[5]), .Z(bit_o));
    end
    if (Inputs > 6) begin : gen_more
      assign bit_o = address_i[Inputs-1] ? high : low;
    end
  end
`else
  for (genvar k = Inputs; k > 0; k--) begin : gen_level
    logic [2**(k-1)-1:0] half;
    if (k == Inputs) begin : gen_first
      assign half = address_i[k-1] ? Table[2**(k-1) +: 2**(k-1)] : Table[0 +: 2**(k-1)];
    end else begin : gen_next
      assign half = address_i[k-1] ? gen_level[k+1].half[2**(k-1) +: 2**(k-1)] : gen_level[k+1].half[0 +: 2**(k-1)];
    end
  end

  assign bit_o = gen_level[1].half;
`endif

endmodule
