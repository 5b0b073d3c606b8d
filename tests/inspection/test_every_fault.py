"""The 51 ways in which files (1 to 31) and masks (32 to 51) are known to go wrong -> the tests that show each."""

import ast
import importlib
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

CASE = "inspection/test_inspect_faults.py::test_a_fault_is_named_with_its_files_and_fix"
INSPECTED = "inspection/test_inspect_faults.py::test_"
FILES = "inspection/test_faults_of_files.py::test_"
MASKS = "inspection/test_faults_of_masks.py::test_"
COPIES = "inspection/test_duplicates.py::test_"

SHOWN = {  # number: what is wrong, and the tests; those of `inspect` ask for the severity, the file and the fix
    # files
    1: ("a JPEG cut in half", f"{FILES}a_jpeg_cut_in_half"),
    2: ("a PNG without its last bytes", f"{FILES}a_png_without_its_last_bytes", f"{CASE}[truncated]"),
    3: ("no bytes", f"{CASE}[zero bytes]", f"{INSPECTED}every_fault_is_found_not_only_the_first"),
    4: ("a web page or JSON called .png", f"{CASE}[html]", f"{CASE}[json mask]"),
    5: (
        "an ending that lies, a format that is not on the list",
        f"{INSPECTED}another_format_than_the_name_says_is_a_note",
        f"{FILES}a_format_that_is_not_on_the_list",
        f"{CASE}[pdf]",
    ),
    6: (
        "EXIF orientations 1 to 8",
        f"{FILES}an_image_of_each_orientation_beside_an_upright_mask",
        f"{INSPECTED}an_image_turned_by_exif_needs_a_mask_that_is_turned",
    ),
    7: ("every mode, and alpha", f"{FILES}pictures_of_every_mode", f"{CASE}[alpha]", f"{CASE}[opaque]"),
    8: ("16-bit grey", f"{FILES}deep_greys_keep_their_steps", f"{CASE}[16 bits]"),
    9: (
        "16-bit colour, floats, NaN",
        f"{FILES}deep_colours_lose_their_low_bits_and_that_is_said",
        f"{FILES}floats_ask_for_their_range",
    ),
    10: ("a JPEG in CMYK", f"{FILES}a_jpeg_in_printing_colours_looks_as_before"),
    11: ("several frames", f"{FILES}several_frames_are_counted", f"{INSPECTED}several_frames_are_counted"),
    12: ("a bomb", f"{FILES}a_bomb_is_not_decoded", f"{CASE}[bomb]"),
    13: ("a compressed bomb", f"{FILES}a_bomb_is_not_decoded", f"{FILES}a_format_that_is_not_on_the_list"),
    14: (
        "1 x 1, 1 x 5000, 3 x 3",
        f"{FILES}slivers_are_named_and_padded",
        "models/test_contract.py::test_scores_have_the_size_of_the_image",
    ),
    15: (
        "odd sizes",
        f"{FILES}odd_sizes_are_no_fault",
        "models/test_contract.py::test_scores_have_the_size_of_the_image",
        "prediction/test_folder.py::test_labels_overlay_and_confidence_have_the_images_size",
    ),
    16: ("900 megapixels", f"{FILES}a_bomb_is_not_decoded"),
    17: ("several sizes", f"{CASE}[mixed sizes]", "data/test_batches.py::test_resident_samples_give_the_same_bits"),
    18: ("what other programs leave behind", f"{FILES}what_other_programs_leave_behind_is_counted", f"{CASE}[junk]"),
    19: (
        "strange names",
        f"{INSPECTED}strange_names_survive",
        f"{FILES}an_accent_may_be_written_in_two_ways",
        f"{FILES}a_name_as_long_as_names_can_be",
        f"{FILES}a_name_cannot_speak_to_the_terminal",
    ),
    20: ("a.jpg beside a.png", f"{CASE}[same stem]"),
    21: ("endings in capitals, a.png beside A.png", f"{FILES}endings_in_capitals", f"{CASE}[capitals]"),
    22: (
        "no mask, no image",
        f"{CASE}[no mask]",
        f"{CASE}[no image]",
        f"{FILES}lonely_files_are_counted_and_twenty_are_listed",
    ),
    23: (
        "nothing, one image, fewer than a batch, one class",
        f"{INSPECTED}nothing_in_a_folder_is_an_error",
        f"{FILES}one_pair_is_too_few",
        "data/test_batches.py::test_every_sample_comes_once_in_every_epoch",
        f"{CASE}[one class only]",
    ),
    24: (
        "copies across parts",
        f"{COPIES}the_same_pixels_in_train_and_val_are_an_error",
        f"{COPIES}a_changed_copy_in_another_part_is_a_warning",
    ),
    25: (
        "broken links, loops, links to elsewhere",
        f"{INSPECTED}pipes_links_and_loops_are_named_and_do_not_block",
        f"{INSPECTED}a_folder_that_holds_itself_ends",
        f"{FILES}links_to_files_elsewhere_are_read_and_noted",
    ),
    26: (
        "what may not be read",
        f"{INSPECTED}a_file_that_may_not_be_read_is_named",
        f"{FILES}a_folder_that_may_not_be_listed",
    ),
    27: (
        "a file that goes or changes",
        f"{FILES}a_file_that_goes_while_the_folder_is_inspected",
        "data/test_bad_inputs.py::test_a_file_that_vanishes_is_named",
        "data/test_cache.py::test_a_changed_file_is_decoded_again",
        "training/test_guards.py::test_a_run_continues_only_on_the_data_it_began_on",
    ),
    28: ("a pipe", f"{INSPECTED}pipes_links_and_loops_are_named_and_do_not_block"),
    29: ("a disk that stalls",),
    30: ("deep folders, many files", f"{FILES}two_hundred_folders_deep"),
    31: (
        "lists with marks, quotes and foreign paths",
        f"{FILES}a_line_of_a_list_that_names_nothing",
        "data/test_encodings.py::test_lists_say_which_picture_is_in_which_part",
    ),
    # masks
    32: ("255 and no word of it", f"{CASE}[255 present]"),
    33: ("0 and 255", f"{CASE}[0 and 255]"),
    34: (
        "values above the classes, negative ones",
        f"{CASE}[value above classes]",
        f"{MASKS}a_value_above_the_declared_ones_is_named_by_its_file",
        f"{MASKS}negative_values_stand_for_no_class",
    ),
    35: ("a mask as JPEG", f"{INSPECTED}a_jpeg_mask_is_an_error_and_the_others_still_say_their_classes"),
    36: ("palettes", f"{INSPECTED}palette_masks_give_their_indices"),
    37: ("colours that stand for nothing", f"{CASE}[beside the table]", f"{CASE}[no table]"),
    38: ("masks with alpha", f"{CASE}[alpha mask]", f"{MASKS}an_opaque_mask_is_read_and_a_transparent_one_is_not"),
    39: ("smoothed edges", f"{CASE}[smooth edges]"),
    40: (
        "another size, transposed, turned",
        f"{CASE}[other size]",
        f"{CASE}[exchanged]",
        f"{INSPECTED}an_image_turned_by_exif_needs_a_mask_that_is_turned",
    ),
    41: (
        "masks interpolated",
        "data/test_augment.py::test_no_new_class_appears_and_sizes_are_as_asked",
        "data/test_aligned.py::test_no_step_of_a_pipeline_invents_a_label",
    ),
    42: (
        "all ignored",
        f"{CASE}[all ignored]",
        "test_losses.py::test_nothing_that_counts_costs_nothing",
    ),
    43: ("all background", f"{CASE}[background only]", f"{CASE}[one class only]"),
    44: (
        "a class that a part lacks",
        f"{INSPECTED}a_class_that_a_part_lacks_is_named",
        "test_scores.py::test_two_images_by_hand",
        "test_class_weights.py::test_a_class_without_a_pixel_weighs_one_and_leaves_the_others",
    ),
    45: ("numbers with holes", f"{CASE}[holes]"),
    46: ("numbers of objects", f"{CASE}[16 bits of objects]"),
    47: ("probabilities", f"{MASKS}probabilities_are_no_mask"),
    48: (
        "pickled objects",
        f"{MASKS}objects_in_arrays_are_never_unpickled",
        f"{MASKS}objects_beside_labels_are_never_unpickled",
    ),
    49: (
        "lists of classes edited",
        f"{CASE}[repeated name]",
        f"{MASKS}blanks_behind_names_are_no_names",
        "faults/test_faults_of_models.py::data_with_other_classes",
    ),
    50: ("folders as classes", f"{MASKS}folders_are_classes_by_their_names_in_every_part"),
    51: (
        "image and mask moved apart",
        "data/test_aligned.py::test_whole_pixels_stay_where_their_labels_are",
        "data/test_albumentations.py::test_image_and_mask_are_moved_together",
    ),
}  # fmt: skip

OTHERWISE = {  # what is not done as a strict reader of the list might wish, and why
    6: "2, 3 and 4 keep the size: a mask that fits the stored pixels alone cannot be told from its size",
    9: "16-bit colours are cut to 8 bits, with a note: what a camera saves holds no range to ask for",
    16: "refused, not read: the limit of 89 megapixels bounds the memory of every program that reads the folder",
    17: "a note: training cuts crops of one size, and every answer comes in the size of its image",
    25: "a note: shared stores are linked into folders every day",
    29: "a thread that waits for a disk cannot be taken back: what is shown stands still at the number of files done",
    30: "50,000 files: benchmarks/ measures seconds and memory",
    32: "255 is what all public sets ignore: it is ignored, and the share is said",
}


@pytest.mark.parametrize("number", range(1, 52))
def test_every_number_has_tests_that_are_there_or_a_reason(number):
    what, *places = SHOWN[number]
    assert what
    assert places or number in OTHERWISE
    for place in places:
        file, _, name = place.partition("::")
        name, _, case = name.removesuffix("]").partition("[")
        tree = ast.parse((TESTS / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, place
        if case:
            module = importlib.import_module(f"tests.{file.removesuffix('.py').replace('/', '.')}")
            assert case in module.CASES, place


def test_no_number_is_beside_the_list():
    assert sorted(SHOWN) == list(range(1, 52))
    assert set(OTHERWISE) <= set(SHOWN)
