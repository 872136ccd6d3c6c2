constexpr std::size_t IN_BYTES = ${core.interfaces[0].bits // 8}, OUT_BYTES = ${core.interfaces[1].bits // 8};

// A bus of whole bytes in Verilator's words.
template <typename Bus> void put_bytes(Bus& bus, const std::uint8_t* bytes, std::size_t count, std::size_t room) {
    std::memset(&bus, 0, sizeof bus);
    std::memcpy(&bus, bytes, count < room ? count : room);
}

// The core with the other ends of its streams.
class Core : public Registers {
public:
    void reach(${core.name}_device& device) {
        device.transfer = [](void* context, const void* rows, std::size_t sent, void* outputs, std::size_t received) {
            return static_cast<Core*>(context)->transfer(static_cast<const std::uint8_t*>(rows), sent,
                                                         static_cast<std::uint8_t*>(outputs), received);
        };
    }

private:
    // 0 if as many bytes came back as were wanted, the last of them with TLAST.
    int transfer(const std::uint8_t* rows, std::size_t sent, std::uint8_t* outputs, std::size_t wanted) {
        std::size_t next = 0, received = 0;
        long quiet = 0;
        bool ended = wanted == 0, offered = false;
        while ((!ended || next < sent) && quiet < PATIENCE_CYCLES) {
            if (!offered) {
                offered = next < sent && !stall();
                const std::size_t count = sent - next < IN_BYTES ? sent - next : IN_BYTES;
                top_->s_axis_tvalid = offered;
                if (offered) {
                    put_bytes(top_->s_axis_tdata, rows + next, count, IN_BYTES);
                    std::uint8_t keep[IN_BYTES] = {};
                    for (std::size_t i = 0; i < count; ++i) keep[i / 8] = static_cast<std::uint8_t>(keep[i / 8] | 1 << i % 8);
                    put_bytes(top_->s_axis_tkeep, keep, sizeof keep, sizeof top_->s_axis_tkeep);
                    top_->s_axis_tlast = next + count == sent;
                }
            }
            top_->m_axis_tready = !stall();
            top_->eval();
            const bool in = offered && top_->s_axis_tready, out = top_->m_axis_tvalid && top_->m_axis_tready;
            if (out) {
                std::uint8_t keep[sizeof top_->m_axis_tkeep];
                std::memcpy(keep, &top_->m_axis_tkeep, sizeof keep);
                const auto* bytes = reinterpret_cast<const std::uint8_t*>(&top_->m_axis_tdata);
                for (std::size_t i = 0; i < OUT_BYTES; ++i) {
                    if (keep[i / 8] >> i % 8 & 1) {
                        if (received < wanted) outputs[received] = bytes[i];
                        ++received;
                    }
                }
                ended = top_->m_axis_tlast;
            }
            cycle();
            if (in) {
                next += IN_BYTES;
                offered = false;
            }
            quiet = in || out ? 0 : quiet + 1;
        }
        top_->s_axis_tvalid = 0;
        top_->m_axis_tready = 0;
        return ended && received == wanted && next >= sent ? 0 : 1;
    }
};
