"""Operations: doctor, estimates of requests and cost, metrics, accuracy, and lineage from a lap to its raw rows."""
