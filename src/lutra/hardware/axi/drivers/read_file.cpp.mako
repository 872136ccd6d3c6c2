std::vector<std::uint8_t> content_of(const char* path) {
    std::vector<std::uint8_t> content;
    std::FILE* file = std::fopen(path, "rb");
    if (!file) {
        std::fprintf(stderr, "%s: cannot be read\n", path);
        std::exit(1);
    }
    for (int byte = std::fgetc(file); byte != EOF; byte = std::fgetc(file)) content.push_back(static_cast<std::uint8_t>(byte));
    std::fclose(file);
    return content;
}

