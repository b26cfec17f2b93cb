"""First names that are common in the United States: beside a request a name alone says nothing."""

ENGLISH_NAMES = tuple(
    """
    aaron adam alan albert alex alexander alexis alice alicia allison amanda amber amy andrea andrew
    angela ann anna anne anthony ashley austin barbara ben benjamin beth betty beverly brandon brenda
    brian brittany bruce bryan carl carol caroline carolyn casey catherine charles charlotte cheryl
    chris christian christina christine christopher cindy claire craig crystal cynthia dan dana daniel
    danielle dave david deborah debra denise dennis diana diane donald donna dorothy doug douglas dylan
    edward elizabeth ellen emily emma eric erin ethan eugene evan evelyn frances frank gary george
    gerald gloria greg gregory hannah harold heather helen henry holly jack jackie jacob jacqueline
    james jamie jane janet janice jason jean jeff jeffrey jen jennifer jenny jeremy jerry jesse jessica
    jim joan joe joel john johnny jon jonathan jordan joseph joshua joyce judith judy julia julie justin
    karen kate katherine kathleen kathryn kathy katie keith kelly ken kenneth kevin kim kimberly kyle
    larry laura lauren lee leslie linda lisa lori louis lucas luke lynn madison margaret maria marie
    marilyn martha mary matt matthew megan melissa michael michelle mike mildred morgan nancy natalie
    nathan nicholas nicole nina noah olivia pam pamela pat patricia patrick paul paula peggy peter
    philip phillip rachel ralph randy raymond rebecca richard rick rob robert robin roger ron ronald
    rosa rose roy russell ruth ryan sam samantha samuel sandra sara sarah scott sean sharon shirley
    sophia stephanie stephen steve steven sue susan tammy taylor teresa terry theresa thomas tiffany tim
    timothy tina todd tom tracy tyler vanessa vicki victoria vincent virginia walter wayne wendy william
    zachary
    """.split()
)
SPANISH_NAMES = tuple(
    """
    adriana alberto alejandra alejandro alfonso alfredo alicia ana andrea andrés ángel angélica antonio
    armando arturo beatriz blanca camila carla carlos carmen carolina catalina cecilia césar claudia
    cristina daniel daniela david diana diego eduardo elena enrique ernesto esteban eva felipe fernanda
    fernando francisco gabriel gabriela gerardo gilberto gloria gonzalo graciela guadalupe guillermo
    gustavo héctor hugo ignacio irene isabel iván jaime javier jesús jimena joaquín jorge josé juan
    juana julia julio karla laura leticia lorena lucía luis luisa luz manuel marcela marco marcos
    margarita maría mariana mario marta martín miguel mónica natalia nicolás norma olga óscar pablo
    paola patricia paula pedro pilar rafael ramón raquel raúl rebeca ricardo roberto rocío rodrigo rosa
    rubén salvador sandra santiago sara sebastián sergio silvia sofía susana teresa tomás valentina
    valeria vanessa verónica vicente víctor ximena yolanda
    """.split()
)
