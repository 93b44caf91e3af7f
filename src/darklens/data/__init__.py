"""Images on disk: the record, the table, and readers of what the field keeps its lens images in."""

from darklens.data.catalogue import Catalogue, is_catalogue
from darklens.data.cutting import cutouts
from darklens.data.export import LAYOUTS, ExportReport, export_table
from darklens.data.extensions import companion
from darklens.data.folders import class_order
from darklens.data.image_pairs import ImagePairs, is_pairs, read_pairs
from darklens.data.importing import ImportReport, import_path
from darklens.data.inspect import summary
from darklens.data.manifest import MANIFEST
from darklens.data.reading import load, pairs, read
from darklens.data.record import Record, content_hash
from darklens.data.resize import resize_image
from darklens.data.schema import RESERVED
from darklens.data.splits import check_disjoint, fractions_of, split_of
from darklens.data.table import Table
from darklens.data.tally import Noticed, Tally
from darklens.data.writer import TableWriter, is_ours, same_table

__all__ = [
    "LAYOUTS",
    "MANIFEST",
    "RESERVED",
    "Catalogue",
    "ExportReport",
    "ImagePairs",
    "ImportReport",
    "Noticed",
    "Record",
    "Table",
    "TableWriter",
    "Tally",
    "check_disjoint",
    "class_order",
    "companion",
    "content_hash",
    "cutouts",
    "export_table",
    "fractions_of",
    "import_path",
    "is_catalogue",
    "is_ours",
    "is_pairs",
    "load",
    "pairs",
    "read",
    "read_pairs",
    "resize_image",
    "same_table",
    "split_of",
    "summary",
]
