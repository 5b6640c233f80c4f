"""limpid's tables through pyarrow, for the peers: batches of images in, row groups of results out."""

import pyarrow as pa
import pyarrow.parquet as pq

FILES = [f"{split}-00000-of-00001.parquet" for split in ("train", "test")]
ROWS = 1000
ROW_GROUP = 20 * ROWS


def batches(path):
    """Record batches of a table."""
    return pq.ParquetFile(path).iter_batches(batch_size=ROWS)


def pixels(batch):
    """The images of a batch, `[rows, pixels]` bytes, without a copy."""
    column = batch.column("image")
    return column.flatten().to_numpy().reshape(len(column), -1)


def lists(values):
    """A column of fixed-size lists from the rows of an array."""
    element = pa.field("element", pa.from_numpy_dtype(values.dtype), nullable=False)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=pa.list_(element, values.shape[1]))


def write(path, results):
    """Writes (input batch, computed columns) in row groups, with limpid's Parquet settings."""
    writer, group = None, []

    def flush():
        nonlocal writer, group
        if not group:
            return
        table, group = pa.Table.from_batches(group), []
        if writer is None:
            # A dictionary for bytes only: codes and errors hardly repeat values.
            writer = pq.ParquetWriter(
                path, table.schema, compression="zstd", compression_level=1,
                use_dictionary=["split", "label", "image.list.element"], write_statistics=["id", "split", "label", "error"])
        writer.write_table(table, row_group_size=ROW_GROUP)

    for batch, columns in results:
        kept = {name: batch.column(name) for name in ("id", "split", "label")}
        group.append(pa.RecordBatch.from_pydict(kept | columns))
        if len(group) * ROWS >= ROW_GROUP:
            flush()
    flush()
    writer.close()
