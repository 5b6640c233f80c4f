//! Round trips between this module and the `parquet` crate in both directions, and damaged pages.

use std::fs::File;

use super::*;
use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::properties::WriterProperties;

fn schema(item: DataType, len: usize) -> SchemaRef {
    let list = DataType::FixedSizeList(Arc::new(Field::new("element", item, false)), len as i32);
    Arc::new(Schema::new(vec![Field::new("x", list, false)]))
}

fn lists(schema: &Schema, rows: usize, len: usize) -> FixedSizeListArray {
    let number = |index: usize| (index * 31 % 257) as u8;
    let DataType::FixedSizeList(field, _) = schema.field(0).data_type() else { panic!("is a list") };
    let values: ArrayRef = match field.data_type() {
        DataType::UInt8 => Arc::new(UInt8Array::from_iter_values((0..rows * len).map(number))),
        _ => Arc::new(Float32Array::from_iter_values((0..rows * len).map(|index| f32::from(number(index)) / 7.0))),
    };
    FixedSizeListArray::new(Arc::clone(field), len as i32, values, None)
}

/// A file with one row group of these pages, each written by this module.
fn written<T: Array + Clone + 'static>(schema: &SchemaRef, pages: &[T]) -> File {
    let file = tempfile::tempfile().expect("can be made");
    let writer = ArrowWriter::try_new(file.try_clone().expect("is open"), schema.clone(), None);
    let (mut writer, _) = writer.and_then(ArrowWriter::into_serialized_writer).expect("is new");
    let column = writer.schema_descr().column(0);
    let mut lists = ListWriter::new(schema.field(0).data_type(), column, ZstdLevel::default())
        .expect("can be made")
        .expect("are lists");
    pages.iter().for_each(|page| lists.write(&(Arc::new(page.clone()) as ArrayRef)).expect("fits a page"));
    let mut group = writer.next_row_group().expect("is the first");
    lists.close().and_then(|chunk| Ok(chunk.append_to_row_group(&mut group)?)).expect("is a column");
    group.close().expect("has all columns");
    writer.close().expect("has a footer");
    file
}

fn metadata(file: &File) -> ArrowReaderMetadata {
    ArrowReaderMetadata::load(file, ArrowReaderOptions::default()).expect("has a footer")
}

fn read_here(file: &File, schema: &Schema, len: impl Into<Option<usize>>) -> Option<ArrayRef> {
    let (DataType::FixedSizeList(item, _) | DataType::List(item)) = schema.field(0).data_type() else {
        panic!("is a list")
    };
    let metadata = metadata(file);
    let file = TableBytes::of(file.try_clone().expect("is open")).expect("is open");
    read(&file, metadata.metadata().row_group(0), "x", item.data_type(), len.into())
}

#[test]
fn the_library_and_this_module_read_what_it_writes() {
    for item in [DataType::UInt8, DataType::Float32] {
        for (rows, len) in [(1, 1), (3, 1), (2, 7), (5, 8), (130, 33), (1000, 784)] {
            let schema = schema(item.clone(), len);
            let whole = lists(&schema, rows, len);
            let pages = [whole.slice(0, rows / 2), whole.slice(rows / 2, rows - rows / 2)];
            let file = written(&schema, &pages);
            assert_eq!(read_here(&file, &schema, len).expect("is our form").as_fixed_size_list(), &whole);
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("has a footer");
            assert_eq!(builder.schema().field(0).data_type(), schema.field(0).data_type());
            let mut reader = builder.with_batch_size(rows).build().expect("can be read");
            let batch = reader.next().expect("has rows").expect("is whole");
            assert_eq!(batch.column(0).as_fixed_size_list(), &whole, "{rows}×{len}");
            assert!(reader.next().is_none());
        }
    }
}

#[test]
fn what_the_library_writes_otherwise_is_left_to_it() {
    for item in [DataType::UInt8, DataType::Float32] {
        let schema = schema(item, 16);
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(lists(&schema, 50, 16))]).expect("fits");
        let file = tempfile::tempfile().expect("can be made");
        let properties = WriterProperties::builder().set_dictionary_enabled(true).build();
        let mut writer =
            ArrowWriter::try_new(file.try_clone().expect("is open"), schema.clone(), Some(properties)).expect("is new");
        writer.write(&batch).expect("is written");
        writer.close().expect("has a footer");
        assert_eq!(read_here(&file, &schema, 16), None);
        // Lists of another length are not read here either.
        let file = written(&schema, &[lists(&schema, 50, 16)]);
        assert_eq!(read_here(&file, &schema, 8), None);
        assert!(read_here(&file, &schema, 16).is_some());
    }
}

#[test]
fn a_damaged_byte_is_noticed_or_changes_nothing() {
    use std::os::unix::fs::FileExt;
    let schema = schema(DataType::UInt8, 9);
    let whole = lists(&schema, 40, 9);
    let file = written(&schema, std::slice::from_ref(&whole));
    let chunk = metadata(&file).metadata().row_group(0).column(0).byte_range();
    for at in chunk.0..chunk.0 + chunk.1 {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("is there");
        for bit in [0, 3, 7] {
            file.write_all_at(&[byte[0] ^ 1 << bit], at).expect("can be written");
            if let Some(lists) = read_here(&file, &schema, 9) {
                assert_eq!(lists.as_fixed_size_list(), &whole, "bit {bit} of byte {at}");
            }
        }
        file.write_all_at(&byte, at).expect("can be written");
    }
    assert_eq!(read_here(&file, &schema, 9).expect("is mended").as_fixed_size_list(), &whole);
}

#[test]
fn lists_of_different_lengths_come_back_from_both_readers() {
    for item in [DataType::UInt8, DataType::Float32] {
        let field = Arc::new(Field::new("element", item.clone(), false));
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::List(Arc::clone(&field)), false)]));
        // Lists of one value beside longer ones, and lengths whose sum is not a multiple of 8.
        for lengths in [vec![1], vec![1, 1, 1], vec![5, 1, 1, 300, 2], (1..200).collect::<Vec<_>>()] {
            let count: usize = lengths.iter().sum();
            let flat = self::lists(&self::schema(item.clone(), 1), count, 1);
            let whole = ListArray::new(
                Arc::clone(&field),
                OffsetBuffer::from_lengths(lengths.iter().copied()),
                flat.values().clone(),
                None,
            );
            let middle = lengths.len() / 2;
            let pages = [whole.slice(0, middle), whole.slice(middle, lengths.len() - middle)];
            let file = written(&schema, &pages);
            assert_eq!(read_here(&file, &schema, None).expect("is our form").as_list::<i32>(), &whole, "{lengths:?}");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("is whole").build().expect("is whole");
            let batches: Vec<_> = reader.collect::<Result<_, _>>().expect("is whole");
            let batch = arrow_select::concat::concat_batches(&schema, &batches).expect("fit");
            assert_eq!(batch.column(0).as_list::<i32>(), &whole);
        }
    }
}
