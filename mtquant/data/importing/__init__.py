# SPDX-License-Identifier: Apache-2.0
"""The importer: price files as they really are, made into bars, with a report of what was done.

    source = ImportSource(symbol="EURUSD", quote="USD", bar="1h", stamped="open", clock="UTC")
    imported = import_file(Path("EURUSD_H1_raw.csv"), source, ImportPolicy())
    print(imported.report.to_text())        # rows read and kept, every kind of dirt with its count
    write_parquet(imported.bars, Path("data/bars/1h/EURUSD.parquet"))

`ImportSource` is what the user knows of the file and nobody can see in it (the clock, what a stamp
means, a lost decimal point). `ImportPolicy` says, for each kind of dirt, whether a row is refused
or how it is repaired. Nothing is guessed and nothing happens in silence: a row is kept as it was
written, or repaired or dropped and counted, or the file is refused with line, rule and value.
"""
