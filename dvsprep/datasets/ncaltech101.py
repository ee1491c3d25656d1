"""N-Caltech101 (Orchard et al. 2015): Caltech-101's images on a screen, seen by a saccading ATIS."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import class_folders
from dvsprep.raw import Resource

# In ASCII order, capitals first. The authors left out "Faces" and kept "Faces_easy".
CLASSES = """
    BACKGROUND_Google Faces_easy Leopards Motorbikes accordion airplanes anchor ant barrel bass beaver binocular
    bonsai brain brontosaurus buddha butterfly camera cannon car_side ceiling_fan cellphone chair chandelier
    cougar_body cougar_face crab crayfish crocodile crocodile_head cup dalmatian dollar_bill dolphin dragonfly
    electric_guitar elephant emu euphonium ewer ferry flamingo flamingo_head garfield gerenuk gramophone
    grand_piano hawksbill headphone hedgehog helicopter ibis inline_skate joshua_tree kangaroo ketch lamp laptop
    llama lobster lotus mandolin mayfly menorah metronome minaret nautilus octopus okapi pagoda panda pigeon pizza
    platypus pyramid revolver rhino rooster saxophone schooner scissors scorpion sea_horse snoopy soccer_ball
    stapler starfish stegosaurus stop_sign strawberry sunflower tick trilobite umbrella watch water_lilly
    wheelchair wild_cat windsor_chair wrench yin_yang
""".split()
PAGE = "https://www.garrickorchard.com/datasets/n-caltech101"
MENDELEY = "https://data.mendeley.com/public-files/datasets/cy6cvx3ryv/files"

DATASET = Dataset(
    name="ncaltech101",
    title="N-Caltech101",
    paper="Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, "
    "Orchard et al., Frontiers in Neuroscience 9:437, 2015",
    licence="see the Mendeley record [?]",
    classes=tuple(CLASSES),
    sensor=(180, 240),
    format="atis",
    resources=(
        Resource(
            "Caltech101.zip",
            md5="66201824eabb0239c7ab992480b50ba3",
            urls=(f"{MENDELEY}/36b5c52a-b49d-4853-addb-a836a8883e49/file_downloaded",),
            page=PAGE,
        ),
        Resource("Caltech101_annotations.zip", md5="25e64cea645291e368db1e70f214988e", page=PAGE, optional=True),
    ),
    layout=class_folders(".bin"),
    splits=("all",),
    samples={"all": 8709},
    status={"data.mendeley.com": "code of tonic 1.7 uses it; not probed here [?]"},
    tested="1 real recording, the others a look-alike",
    note="Coordinates as stored; tonic subtracts each recording's minimum. Recordings differ in extent.",
)
